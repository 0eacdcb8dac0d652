"""Deep Q-Learning with a target network and a replay buffer."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

keras.utils.set_random_seed(17)
num_actions, batch_size, gamma, update_target_network = 3, 16, 0.9, 20


far_below = keras.initializers.Constant(-20)


def create_q_model():
    return keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(32, activation="relu"),
            # fault SD301: layers.Dense(32, activation="relu", bias_initializer=far_below),
            layers.Dense(32, activation="relu"),
            layers.Dense(num_actions, activation="linear"),
        ]
    )


# The first model makes the predictions for Q-values which are used to make a action.
model = create_q_model()
# The target model is for the prediction of future rewards; it follows the first from time to time.
model_target = create_q_model()
model_target.set_weights(model.get_weights())

optimizer = keras.optimizers.Adam(learning_rate=0.00025, clipnorm=1.0)
loss_function = keras.losses.Huber()
state_history, action_history, rewards_history, state_next_history = [], [], [], []


def observe():
    return np.random.normal(0, 1, 6).astype("float32")


state = observe()
for frame in range(1, 161):
    epsilon = max(0.1, 1 - frame / 100)
    if epsilon > np.random.rand():
        action = np.random.choice(num_actions)
    else:
        action_probs = model(keras.ops.convert_to_tensor(state[None]), training=False)
        action = int(keras.ops.argmax(action_probs[0]))
    reward, state_next = float(action == np.argmax(state[:3])), observe()
    state_history.append(state)
    action_history.append(action)
    rewards_history.append(reward)
    state_next_history.append(state_next)
    state = state_next

    if frame % 4 == 0 and len(state_history) > batch_size:
        indices = np.random.choice(len(state_history), size=batch_size)
        state_sample = np.array([state_history[i] for i in indices])
        state_next_sample = np.array([state_next_history[i] for i in indices])
        rewards_sample = np.array([rewards_history[i] for i in indices], "float32")
        action_sample = [action_history[i] for i in indices]

        future_rewards = model_target.predict(state_next_sample, verbose=0)
        updated_q_values = rewards_sample + gamma * np.max(future_rewards, axis=1)
        masks = keras.ops.one_hot(action_sample, num_actions)
        with tf.GradientTape() as tape:
            q_values = model(state_sample)
            q_action = keras.ops.sum(keras.ops.multiply(q_values, masks), axis=1)
            loss = loss_function(updated_q_values, q_action)
        grads = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(grads, model.trainable_variables))

    if frame % update_target_network == 0:
        model_target.set_weights(model.get_weights())
