"""A preference data set of scanned digits and a small model that can learn from it.

Nothing is downloaded: scikit-learn carries the scans. In the order of use::

    generate.py    data set: pictures, ranked responses, rewards
    supervise.py   base model, trained on that data set's responses, good and bad ones alike
    job-*.yaml     the alignment jobs that start from that base model
    answers.py     whether a generated answer is right
    evaluate.py    how many held-out questions a model answers rightly
    run.py         all of it, one after the other
"""
