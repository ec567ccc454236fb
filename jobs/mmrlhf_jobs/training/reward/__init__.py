"""RewardTrainJob: its recipe, objective, evaluation and scoring (paper 3.3)."""
