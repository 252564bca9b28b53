# Every target is tools/dev.py's, which needs no make. Arguments: make test ARGS="tests/saga -x"
.DEFAULT_GOAL := help
.PHONY: run test check bench lock clean help

run test check bench lock clean help:
	@python3 tools/dev.py $@ $(ARGS)
