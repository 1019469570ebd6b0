/* A PKCS#11 module in front of another, for tests: it notes each call in a journal and does to it
 * what a control file says.
 *
 * SHIM_MODULE   the module behind
 * SHIM_JOURNAL  one line a call, the name of the function, appended
 * SHIM_CONTROL  read anew at each call; absent for none. First line: from which byte on the calls
 *               in the journal count. Then one rule a line:
 *                   FUNCTION FROM TO ACTION NUMBER
 *               rv      returns the number instead of calling
 *               after   calls, then returns the number
 *               flags   sets bits in the flags of C_GetTokenInfo
 *               sleep   waits so many milliseconds, then calls
 *               leak    keeps so many bytes, then calls
 *               hang    never returns
 *               crash   writes to address zero
 *
 * SHIM_VERSION, when it is compiled, is the firmware version that tokens show.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <p11-kit-1/p11-kit/pkcs11.h>

#ifndef SHIM_VERSION
#define SHIM_VERSION 1
#endif

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static CK_FUNCTION_LIST *real;
static CK_FUNCTION_LIST shown;

struct outcome {
    CK_RV rv;
    CK_RV after;
    unsigned long flags;
    unsigned long sleep_ms;
    unsigned long leak;
    int hang;
    int crash;
};

/* How often a function is in the journal from a byte on. */
static unsigned long count(const char *function, long since)
{
    FILE *journal = fopen(getenv("SHIM_JOURNAL"), "r");
    char line[64];
    unsigned long found = 0;
    if (journal == NULL)
        return 0;
    fseek(journal, since, SEEK_SET);
    while (fgets(line, sizeof line, journal) != NULL) {
        line[strcspn(line, "\n")] = 0;
        found += strcmp(line, function) == 0;
    }
    fclose(journal);
    return found;
}

static void note(const char *function)
{
    char line[64];
    int length = snprintf(line, sizeof line, "%s\n", function);
    int file = open(getenv("SHIM_JOURNAL"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (file < 0 || write(file, line, (size_t)length) != length)
        abort();
    close(file);
}

static void read_rules(const char *function, struct outcome *outcome)
{
    FILE *control = fopen(getenv("SHIM_CONTROL"), "r");
    char name[64], action[16];
    unsigned long from, to, number, nth = 0;
    long since = 0;
    if (control == NULL)
        return;
    if (fscanf(control, "%ld", &since) != 1)
        abort();
    while (fscanf(control, "%63s %lu %lu %15s %li", name, &from, &to, action, (long *)&number) == 5) {
        if (strcmp(name, function) != 0)
            continue;
        if (nth == 0)
            nth = count(function, since);
        if (nth < from || nth > to)
            continue;
        if (strcmp(action, "rv") == 0)
            outcome->rv = number;
        else if (strcmp(action, "after") == 0)
            outcome->after = number;
        else if (strcmp(action, "flags") == 0)
            outcome->flags |= number;
        else if (strcmp(action, "sleep") == 0)
            outcome->sleep_ms = number;
        else if (strcmp(action, "leak") == 0)
            outcome->leak = number;
        else if (strcmp(action, "hang") == 0)
            outcome->hang = 1;
        else if (strcmp(action, "crash") == 0)
            outcome->crash = 1;
        else
            abort();
    }
    fclose(control);
}

static struct outcome begin(const char *function)
{
    struct outcome outcome = {CKR_OK, CKR_OK, 0, 0, 0, 0, 0};
    pthread_mutex_lock(&lock);
    note(function);
    read_rules(function, &outcome);
    pthread_mutex_unlock(&lock);
    if (outcome.leak > 0) {
        char *kept = malloc(outcome.leak);
        if (kept != NULL)
            memset(kept, 0xA5, outcome.leak);
        __asm__ volatile("" : : "r"(kept) : "memory");
    }
    if (outcome.sleep_ms > 0)
        usleep((useconds_t)(outcome.sleep_ms * 1000));
    while (outcome.hang)
        pause();
    if (outcome.crash)
        *(volatile int *)0 = 1;
    return outcome;
}

#define WRAP(name, parameters, arguments)                                                          \
    static CK_RV shim_##name parameters                                                            \
    {                                                                                              \
        struct outcome outcome = begin(#name);                                                     \
        CK_RV rv = outcome.rv != CKR_OK ? outcome.rv : real->name arguments;                       \
        return outcome.after != CKR_OK ? outcome.after : rv;                                       \
    }

typedef CK_SESSION_HANDLE SESSION;
typedef CK_OBJECT_HANDLE OBJECT;

WRAP(C_Initialize, (void *arguments), (arguments))
WRAP(C_Finalize, (void *reserved), (reserved))
WRAP(C_GetInfo, (CK_INFO *info), (info))
WRAP(C_GetSlotList, (unsigned char present, CK_SLOT_ID *list, CK_ULONG *length), (present, list, length))
WRAP(C_GetSlotInfo, (CK_SLOT_ID slot, CK_SLOT_INFO *info), (slot, info))
WRAP(C_GetMechanismList, (CK_SLOT_ID slot, CK_MECHANISM_TYPE *list, CK_ULONG *length), (slot, list, length))
WRAP(C_GetMechanismInfo, (CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO *info), (slot, type, info))
WRAP(C_OpenSession, (CK_SLOT_ID slot, CK_FLAGS flags, void *application, CK_NOTIFY notify, SESSION *session), (slot, flags, application, notify, session))
WRAP(C_CloseSession, (SESSION session), (session))
WRAP(C_CloseAllSessions, (CK_SLOT_ID slot), (slot))
WRAP(C_GetSessionInfo, (SESSION session, CK_SESSION_INFO *info), (session, info))
WRAP(C_Login, (SESSION session, CK_USER_TYPE user, unsigned char *pin, CK_ULONG length), (session, user, pin, length))
WRAP(C_Logout, (SESSION session), (session))
WRAP(C_CreateObject, (SESSION session, CK_ATTRIBUTE *template, CK_ULONG count, OBJECT *object), (session, template, count, object))
WRAP(C_DestroyObject, (SESSION session, OBJECT object), (session, object))
WRAP(C_GetAttributeValue, (SESSION session, OBJECT object, CK_ATTRIBUTE *template, CK_ULONG count), (session, object, template, count))
WRAP(C_SetAttributeValue, (SESSION session, OBJECT object, CK_ATTRIBUTE *template, CK_ULONG count), (session, object, template, count))
WRAP(C_FindObjectsInit, (SESSION session, CK_ATTRIBUTE *template, CK_ULONG count), (session, template, count))
WRAP(C_FindObjects, (SESSION session, OBJECT *objects, CK_ULONG most, CK_ULONG *count), (session, objects, most, count))
WRAP(C_FindObjectsFinal, (SESSION session), (session))
WRAP(C_SignInit, (SESSION session, CK_MECHANISM *mechanism, OBJECT key), (session, mechanism, key))
WRAP(C_Sign, (SESSION session, unsigned char *data, CK_ULONG length, unsigned char *signature, CK_ULONG *signature_length), (session, data, length, signature, signature_length))
WRAP(C_VerifyInit, (SESSION session, CK_MECHANISM *mechanism, OBJECT key), (session, mechanism, key))
WRAP(C_Verify, (SESSION session, unsigned char *data, CK_ULONG length, unsigned char *signature, CK_ULONG signature_length), (session, data, length, signature, signature_length))
WRAP(C_EncryptInit, (SESSION session, CK_MECHANISM *mechanism, OBJECT key), (session, mechanism, key))
WRAP(C_Encrypt, (SESSION session, unsigned char *data, CK_ULONG length, unsigned char *sealed, CK_ULONG *sealed_length), (session, data, length, sealed, sealed_length))
WRAP(C_DecryptInit, (SESSION session, CK_MECHANISM *mechanism, OBJECT key), (session, mechanism, key))
WRAP(C_Decrypt, (SESSION session, unsigned char *sealed, CK_ULONG length, unsigned char *data, CK_ULONG *data_length), (session, sealed, length, data, data_length))
WRAP(C_GenerateKey, (SESSION session, CK_MECHANISM *mechanism, CK_ATTRIBUTE *template, CK_ULONG count, OBJECT *key), (session, mechanism, template, count, key))
WRAP(C_GenerateKeyPair, (SESSION session, CK_MECHANISM *mechanism, CK_ATTRIBUTE *public_template, CK_ULONG public_count, CK_ATTRIBUTE *private_template, CK_ULONG private_count, OBJECT *public_key, OBJECT *private_key), (session, mechanism, public_template, public_count, private_template, private_count, public_key, private_key))
WRAP(C_GenerateRandom, (SESSION session, unsigned char *bytes, CK_ULONG length), (session, bytes, length))

static CK_RV shim_C_GetTokenInfo(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
    struct outcome outcome = begin("C_GetTokenInfo");
    CK_RV rv = outcome.rv != CKR_OK ? outcome.rv : real->C_GetTokenInfo(slot, info);
    if (rv == CKR_OK) {
        info->flags |= outcome.flags;
        info->firmwareVersion.major = SHIM_VERSION;
    }
    return rv;
}

__attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list)
{
    void *library = dlopen(getenv("SHIM_MODULE"), RTLD_NOW | RTLD_LOCAL);
    CK_C_GetFunctionList entry =
        library == NULL ? NULL : (CK_C_GetFunctionList)dlsym(library, "C_GetFunctionList");
    if (entry == NULL || entry(&real) != CKR_OK)
        return CKR_GENERAL_ERROR;
    shown = *real;
#define SHOW(name) shown.name = shim_##name
    SHOW(C_Initialize);
    SHOW(C_Finalize);
    SHOW(C_GetInfo);
    SHOW(C_GetSlotList);
    SHOW(C_GetSlotInfo);
    SHOW(C_GetTokenInfo);
    SHOW(C_GetMechanismList);
    SHOW(C_GetMechanismInfo);
    SHOW(C_OpenSession);
    SHOW(C_CloseSession);
    SHOW(C_CloseAllSessions);
    SHOW(C_GetSessionInfo);
    SHOW(C_Login);
    SHOW(C_Logout);
    SHOW(C_CreateObject);
    SHOW(C_DestroyObject);
    SHOW(C_GetAttributeValue);
    SHOW(C_SetAttributeValue);
    SHOW(C_FindObjectsInit);
    SHOW(C_FindObjects);
    SHOW(C_FindObjectsFinal);
    SHOW(C_SignInit);
    SHOW(C_Sign);
    SHOW(C_VerifyInit);
    SHOW(C_Verify);
    SHOW(C_EncryptInit);
    SHOW(C_Encrypt);
    SHOW(C_DecryptInit);
    SHOW(C_Decrypt);
    SHOW(C_GenerateKey);
    SHOW(C_GenerateKeyPair);
    SHOW(C_GenerateRandom);
    shown.C_GetFunctionList = C_GetFunctionList;
    *list = &shown;
    return CKR_OK;
}
