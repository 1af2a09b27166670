"""The apps of Django's and Flask's tutorials, made small, `polls` and `flaskr`, and a visitor.

They know nothing of prefork, and are copied to where they are served.
"""
