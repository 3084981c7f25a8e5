package sys_test

// struct semid64_ds of arm64 (SEMANTICS D).
const semidSize, semidNsems = 88, 64
