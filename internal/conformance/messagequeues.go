package conformance

var messageQueues []Case
