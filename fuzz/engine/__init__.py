"""The fuzzer itself: what a target is, how inputs are made, how one is run to its end or its crash."""
