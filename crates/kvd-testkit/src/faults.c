/* Preloaded into a server by faults.rs: its disk fails as the environment says. What std asks of the C library is answered here;
 * what goes to the kernel directly is answered by a filter of system calls. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Of a segment of the journal, finished or not. */
static int is_journal(int fd)
{
    char link[64], name[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, name, sizeof name - 1);
    if (length < 0)
        return 0;
    name[length] = '\0';
    return strstr(name, "journal") != NULL;
}

/* Fails for the journal while the file FAULTS_SYNC_WHILE is there. */
int fdatasync(int fd)
{
    const char *broken = getenv("FAULTS_SYNC_WHILE");
    if (broken != NULL && access(broken, F_OK) == 0 && is_journal(fd)) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fdatasync, fd);
}

/* Writes at offset FAULTS_WRITE_FROM of any file or behind it fail, for good. */
__attribute__((constructor)) static void begin(void)
{
    const char *from = getenv("FAULTS_WRITE_FROM");
    if (from == NULL)
        return;
    const unsigned offset = (unsigned)strtoul(from, NULL, 10);
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pwritev, 0, 3),
        /* The lower half of the offset, where bytes are in little-endian order. */
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[3])),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, offset, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EIO),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {.len = sizeof filter / sizeof *filter, .filter = filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
        perror("system calls can't be filtered");
        _exit(99);
    }
}
