"""Steps around training: what makes, judges and brings in data, one module each.

A step is a spec, the same as a file and as a command line (``spec``, ``command_line``), and what it
does (``step``). ``registry`` names them all, ``runner`` runs one::

    python -m mmrlhf_jobs critiques records.jsonl enhanced.jsonl --endpoints endpoints.yaml
    python -m mmrlhf_jobs step critiques.yaml

A module imports torch only when its step runs, and most never do.
"""
