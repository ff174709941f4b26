"""`python -m savedmodels COMMAND`."""

from train.common.cli import Command, main, quiet_tensorflow

with quiet_tensorflow():
    from savedmodels.evaluate import evaluate, evaluate_parser
    from savedmodels.export import export, export_parser
    from savedmodels.predict import predict, predict_parser

if __name__ == "__main__":
    main(
        "savedmodels",
        "Export a run as a SavedModel, score it, use it.",
        {
            "export": Command(export_parser(), export),
            "evaluate": Command(evaluate_parser(), evaluate),
            "predict": Command(predict_parser(), predict),
        },
    )
