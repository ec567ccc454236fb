"""Judgements of people: queries with responses out to an annotation tool, rankings back in.

A query with its responses becomes a task (``tasks``), in which the responses stand in blind slots.
What leads from slots back to responses is kept outside of the tool, in the key. An adapter a tool
(``label_studio``, ``argilla``) writes tasks in the tool's form, and reads its answers into one form
(``answers``). From there on nothing depends on the tool: an answer is checked (``judging``), the
judgements of one task are made one (``resolution``), and a ranked record comes of it (``ranked``).
"""
