"""python -m speedcore: train | target | plan | data | precompute | verify | ladder | study."""

from speedcore.cli.app import main

if __name__ == "__main__":
    main()
