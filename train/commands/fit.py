"""`python -m train fit --config RECIPE`: train a model, or resume a run that was stopped."""

from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import NonNegativeInt, PositiveFloat

from train.common.errors import UserError
from train.loop.cluster import find_worker
from train.loop.cluster_start import CLUSTER_TIMEOUT
from train.runs.configuration import as_yaml, configuration_parser, instantiate
from train.runs.dry_run import dry_run
from train.runs.train import train


def parser() -> ArgumentParser:
    """Return the parser of the command."""
    parser = configuration_parser(description="Train a model, or resume a run that was stopped.")
    parser.add_argument(
        "--dry_run",
        "--dry-run",
        action="store_true",
        help="Take three steps on small crops of made-up images, with random first weights (and so "
        "the batch's statistics in batch normalization, frozen or not), and keep nothing.",
    )
    add_cluster_options(parser)
    return parser


def add_cluster_options(parser: ArgumentParser) -> None:
    """Add what says where several processes are that train a run together."""
    parser.add_argument(
        "--cluster",
        type=str,
        help="Train with other processes, each started with the same command, on one machine or "
        "several that share the run's folder: host:port,host:port,… of all of them. Default: as "
        "the variable TF_CONFIG says, or a step of Slurm's.",
    )
    parser.add_argument("--worker", type=NonNegativeInt, help="Which of --cluster this is, from 0.")
    parser.add_argument(
        "--cluster_timeout",
        type=PositiveFloat,
        default=CLUSTER_TIMEOUT,
        help="Seconds to wait for the others at the start.",
    )


def run(values: Namespace) -> None:
    """Train the run."""
    is_dry, timeout = values.pop("dry_run"), values.pop("cluster_timeout")
    worker = find_worker(values.pop("cluster"), values.pop("worker"))
    config = instantiate(values)
    if is_dry and worker.count > 1:
        raise UserError("--dry_run takes its steps in one process: leave the cluster away")
    if is_dry:
        dry_run(config)
    else:
        train(config, as_yaml(values), worker, timeout)
