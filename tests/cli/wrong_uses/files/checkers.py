def broken(question, answer):
    return 1 / 0
