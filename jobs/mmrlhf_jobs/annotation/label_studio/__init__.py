"""Label Studio: tasks and labelling page out, the raw JSON export in.

Responses are ranked in buckets, one a rank, because the plain ranker knows no ties. Only the raw
JSON export is read: the shorter formats lose values (label-studio#4699).
"""
