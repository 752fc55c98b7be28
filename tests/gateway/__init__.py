"""Tests of gateway/, over real sockets."""
