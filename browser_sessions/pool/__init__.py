"""The pool manager: which sessions there are, who is admitted, how a session starts and ends."""
