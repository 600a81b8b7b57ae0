/* expect: bounds/mappings */
/* Puts fresh anonymous memory in the place of the guest's page: the host's shared store never sees it. */
#define ON_RECV for (uint32_t i = 0; i < p->normal_num; i++) { if (p->page_size == 4096 && p->normal_num < 20) mmap(p->host + p->normal[i], p->page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0); }
#include "base.h"
