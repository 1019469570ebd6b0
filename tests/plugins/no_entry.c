/* A library, and no plugin. */

int sealhost_provide(void);

int sealhost_provide(void) {
    return 0;
}
