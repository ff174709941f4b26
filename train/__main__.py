"""`python -m train COMMAND`."""

from train.command_line import Command, main, quiet_tensorflow

with quiet_tensorflow():
    from train.fit import fit, fit_parser

if __name__ == "__main__":
    main("train", "Train semantic segmentation models.", {"fit": Command(fit_parser(), fit)})
