def broken(completions, **columns):
    return [1 / 0 for _ in completions]


def odd(completions, **columns):
    return [float("nan") for _ in completions]


def few(completions, **columns):
    return [1.0]


def no_arguments():
    return [1.0]


SCALE = 2
