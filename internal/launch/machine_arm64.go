package launch

const machine = 183 // EM_AARCH64 of elf(5)
