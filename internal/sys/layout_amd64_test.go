package sys_test

// struct semid64_ds of x86_64 (SEMANTICS D).
const semidSize, semidNsems = 104, 80
