def good(shape):
    return None


def no_arguments():
    return None


def text(*_, **__):
    return "a net"
