"""`python -m train COMMAND`."""

from train.command_line import Command, main, quiet_tensorflow
from train.memory import keep_freed_memory

with quiet_tensorflow():
    from train.bench.command import bench, bench_parser
    from train.check import check, check_parser
    from train.explain import explain, explain_parser
    from train.fit import fit, fit_parser
    from train.prepare import prepare, prepare_parser
    from train.show_sampling import sampling_parser, show_sampling
    from train.weights import weights, weights_parser

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
