"""Draws the operator's dashboard over real figures, by the panels that Grafana is made of.

Figures are what a real Prometheus answers, which has watched two replicas of the operator. Panels
are those of the npm package ``@grafana/ui``. It is not Grafana: nobody logs in, and what only a
server does, such as to import the file, is not shown.
"""
