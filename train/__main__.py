"""`python -m train COMMAND`."""

from train.command_line import Command, main, quiet_tensorflow

quiet_tensorflow()

from train.fit import fit, fit_parser  # noqa: E402  (TensorFlow reads its log level once)

if __name__ == "__main__":
    main("train", "Train semantic segmentation models.", {"fit": Command(fit_parser(), fit)})
