"""The group of all commands: each is imported when it is used, and usage errors are JSON with --json."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final

import typer
from typer.core import TyperGroup
from typer.main import get_command

from browser_sessions.domain.text import without_prefix


def _folder(text: str) -> Path:
    if not text:
        raise typer.BadParameter("it is empty")
    return Path(text)


Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        help="The service's address (BROWSER_SESSIONS_URL). Default: this user's service on this machine.",
    ),
]
ApiKeyFile = Annotated[
    str | None,
    typer.Option(
        "--api-key-file",
        metavar="FILE",
        help="File with the API key, - for standard input (BROWSER_SESSIONS_API_KEY holds a key itself). "
        "Default: the admin key in the service's data folder.",
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="FOLDER",
        parser=_folder,
        help="The service's data folder (BROWSER_SESSIONS_DATA_DIR).",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, errors included.")]

COMMON: Final[Mapping[str, inspect.Parameter]] = {
    name: inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
    for name, default, annotation in (
        ("url", None, Url),
        ("api_key_file", None, ApiKeyFile),
        ("data_dir", None, DataDir),
        ("as_json", False, AsJson),
    )
}
"""Options of every command that uses a service. They may also stand before the command."""


def new_app(**settings: Any) -> typer.Typer:
    return typer.Typer(
        **{"add_completion": False, **settings},
        no_args_is_help=True,
        rich_markup_mode=None,  # help texts contain literal brackets and asterisks
        pretty_exceptions_enable=False,  # plain tracebacks, without local variables, which may hold keys
        context_settings={"help_option_names": ["-h", "--help"]},
    )


class CommandGroup(TyperGroup):
    """Commands by name, as `module:function` or, for groups, `module:app` below `browser_sessions.cli`."""

    places: ClassVar[Mapping[str, str]] = {}

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.places)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] not in self.places:
            for name in self.places:  # "Did you mean" looks among those that are loaded
                self.get_command(ctx, name)
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in self.places and cmd_name not in self.commands:
            module, _, name = self.places[cmd_name].partition(":")
            found = getattr(import_module(f"browser_sessions.cli.{module}"), name)
            if not isinstance(found, typer.Typer):
                found = _app_of(cmd_name, found)
            self.commands[cmd_name] = get_command(found)
        return self.commands.get(cmd_name)

    def make_context(self, *arguments: Any, **more: Any) -> Any:
        with _errors_as_raised():
            return super().make_context(*arguments, **more)

    def invoke(self, ctx: Any) -> Any:
        with _errors_as_raised():
            return super().invoke(ctx)

    def main(self, args: Sequence[str] | None = None, *more: Any, **settings: Any) -> Any:
        given = sys.argv[1:] if args is None else list(args)
        if not wants_json(given):
            return super().main(given, *more, **settings)
        from browser_sessions.cli.exit_codes import ExitCode
        from browser_sessions.cli.reports import report

        try:
            code = super().main(given, *more, **{**settings, "standalone_mode": False})
        except typer.TyperException as error:  # of the parser
            report(ExitCode(error.exit_code), error.format_message(), as_json=True)
            code = error.exit_code
        except typer.Abort:
            code = ExitCode.INTERRUPTED
        sys.exit(code if isinstance(code, int) else 0)


@contextmanager
def _errors_as_raised() -> Iterator[None]:
    """typer checks values with pydantic and passes on its messages."""
    try:
        yield
    except typer.TyperException as error:
        error.message = without_prefix(error.message)
        raise


def _app_of(name: str, command: Callable[..., None]) -> typer.Typer:
    app = new_app()
    app.command(name)(command)
    return app


def wants_json(args: Sequence[str]) -> bool:
    return "--json" in (args[: args.index("--")] if "--" in args else args)


def options_before(ctx: typer.Context, given: Mapping[str, Any]) -> None:
    """Hands options that stand before the command to it, as defaults. Raises `BadParameter` if it lacks one."""
    values = {name: value for name, value in given.items() if value not in (None, False)}
    if not values or ctx.invoked_subcommand is None:
        return
    assert isinstance(ctx.command, CommandGroup)
    command = ctx.command.get_command(ctx, ctx.invoked_subcommand)
    ctx.default_map = {ctx.invoked_subcommand: _defaults(command, values, ctx)}


def _defaults(command: Any, values: Mapping[str, Any], ctx: typer.Context) -> dict[str, Any]:
    if isinstance(command, TyperGroup):
        return {name: _defaults(each, values, ctx) for name, each in command.commands.items()}
    for name in values.keys() - {parameter.name for parameter in command.params}:
        option = next(each for each in ctx.command.params if each.name == name)
        raise typer.BadParameter(f"{command.name} has no such option", param_hint=option.opts[0])
    return dict(values)
