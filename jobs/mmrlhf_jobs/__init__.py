"""Code that runs in the pods: data, models, objectives, trainers and artifacts.

Importing this package stays light: nothing here imports torch before a job needs it, because the
operator and the CLI import ``mmrlhf_jobs.components``.
"""
