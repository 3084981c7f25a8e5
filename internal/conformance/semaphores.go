package conformance

var semaphores []Case
