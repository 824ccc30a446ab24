"""What events of one's own are about: 'custom:3' of order.created is 'custom.order:3', apart from that of deploy.finished.

So runs that wait or repeat go on hearing of it, and what runs once for it stays so.
"""

from typing import Any

from django.db import migrations
from django.db.models import F, Value
from django.db.models.functions import Concat, Length, Substr

OLD = "custom:"
LONGEST = 200  # one that would not fit stays as it was: nobody hears of it any more


def tell_apart(apps: Any, schema_editor: Any) -> None:
    events = apps.get_model("workflows", "Event").objects.filter(resource__startswith=OLD)
    for name in events.order_by().values_list("name", flat=True).distinct():
        new = f"custom.{name.partition('.')[0]}:"
        room = LONGEST - len(new) + len(OLD)
        runs = apps.get_model("workflows", "Run").objects.filter(once_key__startswith=OLD, event__name=name)
        _rename(runs, "once_key", new, room=room)
        _rename(events.filter(name=name), "resource", new, room=room)


def _rename(rows: Any, column: str, new: str, *, room: int) -> None:
    fitting = rows.annotate(letters=Length(column)).filter(letters__lte=room)
    fitting.update(**{column: Concat(Value(new), Substr(F(column), len(OLD) + 1))})


class Migration(migrations.Migration):
    dependencies = [("workflows", "0015_start_of_postgresql")]
    operations = [migrations.RunPython(tell_apart, migrations.RunPython.noop)]
