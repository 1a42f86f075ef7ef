"""The command line's tree: one typer application, its commands in the modules named for their nouns."""

from __future__ import annotations

import typer

from gnomon.cli import (
    audit_commands,
    definition_commands,
    export_commands,
    feature_test_command,
    import_command,
    layout_commands,
    platform_commands,
    push_command,
    reading_commands,
    search_commands,
    serving_commands,
    work_commands,
)

app = typer.Typer(
    name="gnomon",
    help="One file of definitions in, the whole life of a model out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for module in (
    platform_commands, definition_commands, work_commands, serving_commands, reading_commands, audit_commands,
    push_command, search_commands, feature_test_command, export_commands, import_command,
    layout_commands,
):  # fmt: skip
    module.register(app)
