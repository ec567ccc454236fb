"""Preference data: records, readers, order, validation, pairs, media and importers.

Nothing here imports torch. Start at :mod:`mmrlhf_jobs.data.records` for the schema and at
:mod:`mmrlhf_jobs.data.dataset` for how a trainer reads it.
"""
