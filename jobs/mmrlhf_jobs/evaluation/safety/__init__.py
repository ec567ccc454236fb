"""How safe a policy's answers are (paper 5.2, Tables 3 and 6).

``cases.py`` brings requests and answers together, ``template.py``, ``classifier.py`` and
``server.py`` judge them, ``figures.py`` makes ASR, RtA and ratios with their intervals, and
``results.py`` the file that the gate reads. A judge's failure is an error, never a safe answer::

    python -m mmrlhf_jobs safety plan.yaml results.json --responses answers.jsonl --json safety.json
"""
