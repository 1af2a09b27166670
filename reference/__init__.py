"""What is generated: the man pages, the sample configuration, the page of gunicorn's settings, and
the shells' completions.

    python -m reference            write these files
    python -m reference --check    say which of them are out of date, and fail if any is

All of it comes from the tables of the code, so that it can't say anything else; what is prose
stands here. It is not installed: who installs prefork gets the files. The same code makes the same
text on every machine and day, as the date is that of the version.

The prose is a little of Markdown: a blank line ends a paragraph, `backticks` are bold type, and a
paragraph that is indented is an example.
"""
