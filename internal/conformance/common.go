package conformance

var common []Case
