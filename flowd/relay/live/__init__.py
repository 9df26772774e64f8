"""The live lane: kept lines published as they come, best effort, with sequences that show what was missed."""
