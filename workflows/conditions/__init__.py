"""Does this event satisfy these conditions, and what did each of them see? Pure."""

from .checks import MOST_CONDITIONS, Problem, problem_of
from .matching import NAMES, written
from .paths import LONGEST as LONGEST_PATH
from .paths import look_up, quoted
from .patterns import is_pattern
from .verdict import NEED_NO_VALUES, OPERATORS, Look, Verdict, examine

__all__ = [
    "LONGEST_PATH",
    "MOST_CONDITIONS",
    "NAMES",
    "NEED_NO_VALUES",
    "OPERATORS",
    "Look",
    "Problem",
    "Verdict",
    "examine",
    "is_pattern",
    "look_up",
    "problem_of",
    "quoted",
    "written",
]
