"""`make demo`: the main job, done for real against a relay of its own."""
