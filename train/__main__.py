"""`python -m train COMMAND`."""

from train.common.cli import Command, main, quiet_tensorflow
from train.common.memory import keep_freed_memory

with quiet_tensorflow():
    from train.bench.command import bench, bench_parser
    from train.commands.check import check, check_parser
    from train.commands.explain import explain, explain_parser
    from train.commands.fit import fit, fit_parser
    from train.commands.prepare import prepare, prepare_parser
    from train.commands.sampling import sampling_parser, show_sampling
    from train.commands.weights import weights, weights_parser

if __name__ == "__main__":
    keep_freed_memory()
    main(
        "train",
        "Train semantic segmentation models.",
        {
            "fit": Command(fit_parser(), fit),
            "check": Command(check_parser(), check),
            "prepare": Command(prepare_parser(), prepare),
            "weights": Command(weights_parser(), weights),
            "explain": Command(explain_parser(), explain),
            "sampling": Command(sampling_parser(), show_sampling),
            "bench-input": Command(bench_parser(), bench),
        },
    )
