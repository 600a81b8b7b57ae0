/* expect: isolation/concurrent */
/* may: isolation/first-packets */
/* All channels take the image of a page aside into one page. */
#include "prelude.h"
#define REFERENCE
static uint8_t aside[1 << 21];
#define RECEIVED_REFERENCE(p, i) (memcpy(aside, (p)->reference + (p)->normal[i], (p)->page_size), aside)
#include "base.h"
