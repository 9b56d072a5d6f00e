/* The only process of the guest: keeps one string in memory. `set TEXT` on the serial line changes it, any line is answered
   with `is TEXT`. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static char text[64] = "new";

static void say(int line, const char *words)
{
    if (write(line, words, strlen(words)) < 0)
        _exit(1);
}

static void tell(int line)
{
    say(line, "\nis ");
    say(line, text);
    say(line, "\n");
}

int main(void)
{
    char got[64], byte;
    size_t length = 0;

    mknod("/serial", S_IFCHR | 0600, makedev(4, 64));
    int line = open("/serial", O_RDWR | O_NOCTTY);
    tell(line);
    while (read(line, &byte, 1) == 1) {
        if (byte != '\n') {
            if (length < sizeof got - 1)
                got[length++] = byte;
            continue;
        }
        got[length] = 0;
        length = 0;
        if (strncmp(got, "set ", 4) == 0)
            strcpy(text, got + 4);
        tell(line);
    }
    return 1;
}
