package conformance

var permissions []Case
