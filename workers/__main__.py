from colm.workers.cli.main import main

if __name__ == "__main__":  # an engine's processes import this module again
    main()
