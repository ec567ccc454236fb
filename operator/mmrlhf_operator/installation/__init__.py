"""What is applied to a cluster to install the operator, made from code.

`access` says what the operator may do, `users` what others may do to jobs, `workload` how it runs,
`settings` what it is told, `monitoring` how it is watched, and `files` writes it all down below
``deploy/``. `chart` makes the same a chart of Helm: `values` are what may be set, `templating` has
the places where they go.
"""
