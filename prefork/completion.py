"""Shell completion for both commands, made from their parsers.

eval "$(python -m prefork.completion bash)"     in ~/.bashrc; zsh, after compinit, likewise
python -m prefork.completion fish | source      in config.fish
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator

from prefork.config import parser
from prefork.ctl.main import parser as ctl_parser
from prefork.settings import TABLE

_BASH = """\
_{name}() {{
    COMPREPLY=()
    case "$3" in
{values}    esac
    case "$2" in
    -*) COMPREPLY=($(compgen -W {flags} -- "$2")) ;;
    *) COMPREPLY=($(compgen -W {commands} -- "$2")) ;;
    esac
}}
complete -o default -F _{name} {name}
"""
# zsh has a `complete` that understands bash's.
_ZSH = "autoload -U +X bashcompinit && bashcompinit\n"


def main(arguments: list[str] | None = None) -> None:
    """Print what makes a shell complete the commands."""
    command = argparse.ArgumentParser(prog="python -m prefork.completion")
    command.add_argument("shell", choices=["bash", "zsh", "fish"])
    print(script(command.parse_args(arguments).shell), end="")


def script(shell: str) -> str:
    """What a shell, one of bash, zsh and fish, has to execute."""
    parsers = (parser(), ctl_parser())
    if shell == "fish":
        return "".join(map(fish, parsers))
    return (_ZSH if shell == "zsh" else "") + "".join(map(bash, parsers))


def bash(command: argparse.ArgumentParser) -> str:
    """What completes one command in bash."""
    options = _options(command)
    flags = " ".join(flag for option in options for flag in option.option_strings)
    return _BASH.format(
        name=command.prog,
        values="".join(_value(option) for option in options if option.nargs != 0),
        flags=shlex.quote(flags),
        commands=shlex.quote(" ".join(_commands(command))),
    )


def fish(command: argparse.ArgumentParser) -> str:
    """What completes one command in fish."""
    return "".join(f"{line}\n" for line in _fish(command))


def _value(option: argparse.Action) -> str:
    """The branch for what follows an option; where nothing is offered, bash offers files."""
    flags, words = "|".join(option.option_strings), _choices(option)
    offer = f'COMPREPLY=($(compgen -W {shlex.quote(" ".join(words))} -- "$2"))' if words else ""
    return f"    {flags}) {offer}{'; ' if offer else ''}return ;;\n"


def _fish(command: argparse.ArgumentParser) -> Iterator[str]:
    commands = _commands(command)
    if commands:
        yield f"complete -c {command.prog} -f -n __fish_use_subcommand -a '{' '.join(commands)}'"
    for option in _options(command):
        words = [
            f"complete -c {command.prog}",
            *(
                f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}"
                for flag in option.option_strings
            ),
        ]
        if option.nargs != 0:
            choices = _choices(option)
            words.append(f"-x -a '{' '.join(choices)}'" if choices else "-r")
        yield " ".join(words)


def _options(command: argparse.ArgumentParser) -> list[argparse.Action]:
    """The options that are told of, those of its commands included, each once."""
    parsers = [command, *_commands(command).values()]
    found: dict[str, argparse.Action] = {}
    for each in parsers:
        for action in each._actions:
            if action.option_strings and action.help != argparse.SUPPRESS:
                found.setdefault(action.option_strings[-1], action)
    return list(found.values())


def _commands(command: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in command._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def _choices(option: argparse.Action) -> list[str]:
    """The words that may follow an option, as far as they are known."""
    row = TABLE.get(option.dest)
    return [str(word) for word in option.choices or (row.choices if row else ())]


if __name__ == "__main__":
    main(sys.argv[1:])
