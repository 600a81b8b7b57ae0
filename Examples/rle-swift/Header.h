/* What the Swift code sees of C: the interface, and memcpy() and memset(). */
#include <multifd_plugin.h>

#include <string.h>
