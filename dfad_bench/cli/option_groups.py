"""The groups in which `dfad COMMAND --help` shows options, by the options' names: the same in every command."""

from __future__ import annotations

import click

# group -> names of parameters; an option that stands in none fails tests/cli/test_cli_option_groups.py
GROUPS: dict[str, frozenset[str]] = {
    title: frozenset(names.split())
    for title, names in {
        "Input": """
            columns corruptions corruptions_file crop dataset entries faces families folder follow_links frames
            from_deepfakebench function gallery generator generators hashes images include labels layout limit
            manifest manifests model_card model_column only per_group prefixes protocol real_folders record released
            reported root run runs set_name skip stride test_share types unseen views_from with_shipped
        """,
        "Model": """
            classifier compiled estimator estimators features fid_weights finetune_from gaze_weights heads model
            models options prompts size views weights
        """,
        "Training": "epochs extend leak_check max_minutes max_steps recipe resume seed seeds",
        "Measurement": """
            all_tables allow_partial audited by by_group check corrupt_at deep enrol equal_n everything
            faces_per_group facts fid_backend figures force_precision heat_faces heat_maps histogram keep latency
            max_missing max_refused max_unmatched measure min_faces minutes most_faces near_bits outputs repredict
            resamples rescore samples severities shares side small stability strict top verify
        """,
        "Running": """
            accept batch batch_size cache channels_last checkpointing device engine planned precision processes
            repin shard shard_size workers
        """,
        "Output": """
            allow_restricted annotate as_csv as_json boards collect contact_sheet detailed embedding figure form
            format_ keep_images licences mistakes name onnx out plot public quiet refused replace sort style table
            to wandb
        """,
    }.items()
}
OTHER = "Other"


def group_of(option: click.Parameter) -> str:
    """The group of an option by its name; `OTHER` where no group has it."""
    return next((title for title, names in GROUPS.items() if option.name in names), OTHER)


def grouped_options(command: click.Command, context: click.Context) -> dict[str, list[click.Parameter]]:
    """Options of a command by group, those that must be given first; groups without any are left out."""
    found: dict[str, list[click.Parameter]] = {title: [] for title in (*GROUPS, OTHER)}
    for parameter in command.get_params(context):
        if isinstance(parameter, click.Option) and not parameter.hidden:
            found[group_of(parameter)].append(parameter)
    return {title: sorted(options, key=lambda one: not one.required) for title, options in found.items() if options}


def format_options(command: click.Command, context: click.Context, formatter: click.HelpFormatter) -> None:
    """Write the options of a command to its help, group by group."""
    for title, options in grouped_options(command, context).items():
        rows = [record for option in options if (record := option.get_help_record(context)) is not None]
        if rows:
            with formatter.section(f"{title} options" if title != OTHER else "Other"):
                formatter.write_dl(rows)
    if isinstance(command, click.Group):
        command.format_commands(context, formatter)
