package conformance

var mqueues []Case
