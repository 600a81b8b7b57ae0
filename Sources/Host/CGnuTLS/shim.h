#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

/* Memory that GnuTLS frees itself: its allocator is a variable, which Swift has no safe name for. */
static inline void *multifd_gnutls_alloc(size_t size) { return gnutls_malloc(size); }
