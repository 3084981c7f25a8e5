package conformance

var segments []Case
