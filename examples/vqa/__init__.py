"""Real weights: SmolLM2-135M-Instruct taught to see, and aligned, without a model hub.

Both what it reads come from the package index, by their digests. In the order of use::

    packages.py    the two packages: a text model, and pictures with questions
    text_model.py  SmolLM2-135M-Instruct as a transformers folder, converted once
    questions.py   what is asked, and what may be answered
    generate.py    data set: pictures, ranked responses, rewards
    model.py       the model: a small SigLIP tower and a connector before the text model
    vision.py      first lesson: the tower learns to turn pictures into words
    practice.py    second lesson: how answers look, good and bad ones alike
    supervise.py   base model: both lessons
    job.yaml       the alignment job that starts from that base model
    run.py         all of it, one after the other
"""
