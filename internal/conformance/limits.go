package conformance

var limits []Case
